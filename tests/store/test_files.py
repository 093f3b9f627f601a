"""Files as a whole: complete or absent, plain or refused."""

import errno
import os
import pickle

import pytest

from rodflow.store import artifact, files
from rodflow.store.files import ArtifactError
from stored import store, trajectory


def test_errors_are_one_line_and_cross_processes():
    error = ArtifactError("x.nc", "broken\n  twice")
    assert str(error) == "x.nc: broken twice; delete it and run again"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path, monkeypatch):
    path = store(tmp_path / "x.nc")
    before = path.read_bytes()

    def interrupted(descriptor):
        assert len(list(tmp_path.iterdir())) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store(path, trajectory() + 1)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("code", "remedy"),
    [(errno.ENOSPC, "free some space"), (errno.EROFS, "make its folder writable")],
)
def test_disk_that_refuses_is_one_line(tmp_path, monkeypatch, code, remedy):
    def refuse(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ArtifactError, match=rf"x\.nc: .*{os.strerror(code)}; {remedy}"):
        store(tmp_path / "x.nc")
    assert not list(tmp_path.iterdir())


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match=r"x\.nc: cannot be written: Not a directory; move"):
        store(tmp_path / "file/gd/x.nc")


def test_two_writers_of_one_file_lose_nothing(tmp_path, monkeypatch):
    path = tmp_path / "x.nc"

    def overtaken(descriptor, sync=os.fsync):
        monkeypatch.setattr(os, "fsync", sync)
        store(path)

    monkeypatch.setattr(os, "fsync", overtaken)
    with pytest.raises(ArtifactError, match="another process"):
        store(path)
    artifact.verify(path)


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        ("file", ""),
        ("folder/file", ""),
        ("folder", "cannot be read: Is a directory"),
        ("absent", "cannot be read: No such file or directory"),
        ("/etc/passwd", "leads outside the folder"),
        ("folder/../../x", "leads outside the folder"),
        ("..", "leads outside the folder"),
        ("", "leads outside the folder"),
        ("a\0b", "leads outside the folder"),
        ("link", "cannot be read: it is a link, and links are not followed"),
        ("inner/file", "cannot be read: inner is a link, and links are not followed"),
        ("fifo", "cannot be read: it is no regular file"),
        ("file/x", "cannot be read: Not a directory"),
    ],
)
def test_a_name_is_that_of_a_plain_file_in_the_folder_or_said_not_to_be(tmp_path, place, fault):
    (tmp_path / "folder").mkdir()
    for name in ("file", "folder/file"):
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "inner").symlink_to("folder")
    os.mkfifo(tmp_path / "fifo")
    assert files.place_fault(tmp_path, place) == fault


def test_a_listing_names_links_and_does_not_follow_them(tmp_path):
    store(tmp_path / "a/x.nc")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c").symlink_to(".")
    (tmp_path / "a/.x.nc.partial/run").mkdir(parents=True)
    assert files.listing(tmp_path) == ["a/.x.nc.partial", "a/x.nc", "b", "c"]


def test_more_bytes_than_allowed_are_not_read(tmp_path):
    (tmp_path / "x").write_bytes(bytes(11))
    assert files.read_bytes(tmp_path / "x", 11) == bytes(11)
    with pytest.raises(OSError, match="it has more than 10 bytes"):
        files.read_bytes(tmp_path / "x", 10)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_devices_are_not_read(path):
    with pytest.raises(ArtifactError, match=r"it is no regular file|No such"):
        files.sha256(path)


def test_an_error_shows_what_is_not_printable():
    error = ArtifactError("x\x1b[2J.nc", "is\u202e \ud800", "")
    assert str(error) == r"x\x1b[2J.nc: is\u202e \ud800; "
