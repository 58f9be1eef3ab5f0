"""`python -m kalathi`"""

from kalathi.cli import main

main()
