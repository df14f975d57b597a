"""Become another program that does not outlive its starter, and that is not root where it must not be.

Run as a script of its own (`python -I -S launch.py PARENT SIGNAL IDENTITY PROGRAM…`) instead of as a preexec function: code between
fork and exec deadlocks in a process that has threads.
"""

import ctypes
import os
import signal
import sys

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
NOBODY = 65534


def enter_namespace() -> None:
    """Enter a user namespace in which this user, root as well, is called nobody; the files' owners stay what they are."""
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "a user namespace is not permitted")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{NOBODY} {user} 1"), ("gid_map", f"{NOBODY} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib doubles the start-up time
            file.write(text)


def become_nobody() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def follow(parent: int, number: int) -> None:
    """Have the kernel send the signal when the parent ends; end here when it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def main() -> None:
    parent, number, identity, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    try:
        if identity == "namespace":
            enter_namespace()
        elif identity == "nobody":
            become_nobody()
        # Python ignores SIGPIPE, and an ignored signal stays ignored across exec.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        # Last: a change of credentials clears the parent's death signal.
        follow(parent, number)
        os.execv(program[0], program)  # noqa: S606 - becoming the program is the purpose
    except OSError as fault:
        sys.stderr.write(f"cannot start {program[0]}: {fault.strerror}\n")
        sys.exit(126)


if __name__ == "__main__":
    main()
