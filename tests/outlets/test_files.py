"""Files are whole or not there."""

from __future__ import annotations

import os
import stat

import pytest

from introspect.errors import IntrospectError
from introspect.outlets import files


def test_content_goes_through_byte_for_byte(tmp_path):
    path = tmp_path / "a.txt"
    files.write_file(str(path), "schön\r\n\ud800")
    assert path.read_bytes() == "schön\r\n\\ud800".encode()


def test_old_file_stays_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", fail)
    with pytest.raises(IntrospectError, match=r"cannot write .*a\.txt'.*No space left"):
        files.write_file(str(path), "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_permissions_stay_or_follow_the_mask(tmp_path):
    path = tmp_path / "a.txt"
    files.write_file(str(path), "1")
    plain = tmp_path / "b.txt"
    plain.write_text("1")
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o600)
    files.write_file(str(path), "2")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_link_is_followed(tmp_path):
    target = tmp_path / "target.txt"
    target.write_text("old")
    link = tmp_path / "link.txt"
    link.symlink_to(target)
    files.write_file(str(link), "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        files.write_file(str(pipe), "new")
        assert os.read(reader, 10) == b"new"
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe.txt"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="no /proc here")
def test_an_open_stream_keeps_what_it_holds(tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    with log.open("a") as stream:
        files.write_file(f"/proc/self/fd/{stream.fileno()}", "new\n")
        stream.write("after\n")
    assert log.read_text() == "before\nnew\nafter\n"


def test_a_full_device_is_said_in_one_line_and_stays_a_device(tmp_path):
    full = tmp_path / "full.txt"
    try:
        os.mknod(full, stat.S_IFCHR | 0o666, os.makedev(1, 7))
        full.open("wb").close()
    except (AttributeError, PermissionError):
        pytest.skip("only root makes devices, and not everywhere")
    with pytest.raises(IntrospectError, match="No space left"):
        files.write_file(str(full), "new")
    assert stat.S_ISCHR(full.stat().st_mode)


@pytest.mark.parametrize("name", ["missing/a.txt", "."])
def test_what_cannot_be_written_is_said_in_one_line(tmp_path, name):
    with pytest.raises(IntrospectError) as caught:
        files.write_file(str(tmp_path / name), "x")
    assert str(caught.value).count("\n") == 0
    assert os.listdir(tmp_path) == []
