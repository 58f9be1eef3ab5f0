"""The differences between Linux, macOS and Windows. No other package asks for the name of the operating system.

Each module offers the same functions on every system. Where a system lacks something, the module says so.
"""
