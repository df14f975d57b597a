"""The data folder has one holder and no strangers; sockets live in a short private folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.local.runtime import DataFolder, LocalRefused, launched, runtime_folder, wheel

ROOT = Path(__file__).resolve().parents[2]


class TestDataFolder:
    def test_is_made_private_and_can_be_claimed_again(self, tmp_path: Path) -> None:
        folder = DataFolder(tmp_path / "new" / "data")

        folder.claim()
        mode = folder.path.stat().st_mode & 0o777
        folder.release()
        folder.claim()
        folder.release()

        assert mode == 0o700

    def test_has_one_holder_who_is_named(self, tmp_path: Path) -> None:
        first = DataFolder(tmp_path / "data")
        first.claim()

        with pytest.raises(LocalRefused, match=rf"in use by another `ani up` \(process {os.getpid()}\): stop it"):
            DataFolder(tmp_path / "data").claim()

        first.release()

    def test_is_free_again_when_its_holder_was_killed(self, tmp_path: Path) -> None:
        script = "import sys, os, signal; from pathlib import Path; from adapters.local.runtime import DataFolder; "
        script += "DataFolder(Path(sys.argv[1])).claim(); os.kill(os.getpid(), signal.SIGKILL)"
        done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "data")], cwd=ROOT, check=False)

        folder = DataFolder(tmp_path / "data")
        folder.claim()
        folder.release()

        assert done.returncode == -9

    def test_refuses_a_folder_for_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").touch()

        with pytest.raises(LocalRefused, match="is not empty and not Ani's"):
            DataFolder(tmp_path).claim()

        assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]

    def test_accepts_keys_made_before_the_first_start(self, tmp_path: Path) -> None:
        (tmp_path / "keys").mkdir()

        folder = DataFolder(tmp_path)
        folder.claim()
        folder.release()

        assert (tmp_path / DataFolder.LOCK).exists()

    def test_refuses_a_path_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(LocalRefused, match="cannot be used"):
            DataFolder(tmp_path / "file").claim()


class TestRuntimeFolder:
    def test_is_short_private_and_one_for_each_data_folder(self, tmp_path: Path) -> None:
        long = tmp_path / ("long name " * 20)

        folders = [runtime_folder(long), runtime_folder(long), runtime_folder(tmp_path)]

        assert folders[0] == folders[1] != folders[2]
        assert all(len(str(folder)) < 80 and folder.stat().st_mode & 0o777 == 0o700 for folder in folders)
        for folder in set(folders):
            folder.rmdir()

    def test_refuses_a_link_laid_in_its_place(self, tmp_path: Path) -> None:
        folder = runtime_folder(tmp_path)
        folder.rmdir()
        folder.symlink_to(tmp_path)

        with pytest.raises(LocalRefused, match="is not ours: remove it"):
            runtime_folder(tmp_path)

        folder.unlink()


class TestLaunch:
    def test_says_which_program_cannot_be_started(self) -> None:
        done = subprocess.run(launched(["/nowhere/program"]), check=False, capture_output=True, text=True)

        assert done.returncode == 126
        assert done.stderr == "cannot start /nowhere/program: No such file or directory\n"

    def test_does_not_start_for_a_parent_that_has_gone(self) -> None:
        command = launched(["/bin/echo", "alive"])
        command[4] = "1"

        done = subprocess.run(command, check=False, capture_output=True)

        assert done.stdout == b""
        assert done.returncode == 1


class TestWheel:
    def test_names_the_missing_package_and_the_way_out(self) -> None:
        with pytest.raises(LocalRefused, match="no_such_wheel is not installed: run `make setup`"):
            wheel("no_such_wheel")
