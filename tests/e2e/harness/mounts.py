"""A mount namespace of one's own: files and a small disk that only one process tree sees. Needs root,
and leaves nothing behind: the mounts go with the last process that has them."""

import subprocess

from .env import wait_for


class Mounts:
    """`run` goes before the argv of what shall live in it. The namespace is held by a process that
    does nothing else; what is inside is seen through its root."""

    def __init__(self, files=(), disks=()):
        """files: (path, what is seen there instead). disks: (directory, bytes) of tmpfs."""
        steps = [f"mount --bind '{new}' '{path}'" for path, new in files]
        steps += [f"mount -t tmpfs -o size={size},mode=0755 none '{path}'" for path, size in disks]
        script = " && ".join([*steps, "echo ready", "exec cat"])
        self.holder = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", script],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n", "no mounts"
        # sh has become cat by now, or will under the same process id.
        self.run = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "--"]

    def path(self, path):
        """How the world outside reaches what is at `path` inside."""
        return f"/proc/{self.holder.pid}/root{path}"

    def close(self):
        self.holder.stdin.close()
        wait_for(lambda: self.holder.poll() is not None, 5, "the mounts to go")
        self.holder.stdout.close()


def available():
    """Whether this kernel and this user can have such a namespace."""
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
