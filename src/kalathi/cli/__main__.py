"""`python -m kalathi.cli`"""

from kalathi.cli import main

main()
