"""The number of files and connections that the system lets this process open."""

import sys

if sys.platform == "win32":

    def raise_file_limit(most: int) -> int:
        """Let this process open as many files and sockets as the system allows. Return how many, at most `most`.
        Windows does not count sockets."""
        return most

else:
    import resource

    def raise_file_limit(most: int) -> int:
        """Let this process open as many files and sockets as the system allows. Return how many, at most `most`."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        files = most if hard == resource.RLIM_INFINITY else min(hard, most)
        if soft != resource.RLIM_INFINITY and soft < files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
        return files
