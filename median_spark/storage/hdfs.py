"""HDFS through hdfs-native, which needs no Java and no libhdfs, seen as a filesystem of pyarrow's."""

import contextlib
import socket
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pyarrow as pa
from pyarrow import fs

from median_spark.storage.buckets import Ranges, Upload, refuse_forks

_CONNECT_SECONDS = 5.0


def hdfs(authority: str) -> fs.FileSystem:
    """Return the filesystem of a NameNode, ``host:port``, or of a name service that Hadoop's configuration describes.

    Without an authority it is the default one of that configuration, which `HADOOP_CONF_DIR` names.
    """
    try:
        import hdfs_native
    except ImportError as error:
        message = "HDFS is reached through the package hdfs-native: pip install 'median_spark[hdfs]'"
        raise ImportError(message) from error
    refuse_forks()
    host, _, port = authority.rpartition("@")[2].rpartition(":")
    if host and port.isdecimal():  # where nobody listens, the client would try on for minutes
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
    with _as_os_errors():
        return fs.PyFileSystem(_Hdfs(hdfs_native.Client(f"hdfs://{authority}" if authority else None)))


class _Hdfs(fs.FileSystemHandler):  # type: ignore[misc]
    """One HDFS, whose paths begin with a slash."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def get_type_name(self) -> str:
        return "hdfs"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        try:
            with _as_os_errors():
                return [_info_of(status) for status in self._client.list_status(selector.base_dir, selector.recursive)]
        except FileNotFoundError:
            if selector.allow_not_found:
                return []
            raise

    def create_dir(self, path: str, recursive: bool) -> None:  # noqa: FBT001
        with _as_os_errors():
            self._client.mkdirs(path, create_parent=recursive)

    def delete_dir(self, path: str) -> None:
        with _as_os_errors():
            self._client.delete(path, recursive=True)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        for info in self.get_file_info_selector(fs.FileSelector(path, allow_not_found=missing_dir_ok)):
            self.delete_dir(info.path)

    def delete_root_dir_contents(self) -> None:
        message = "a whole HDFS is not deleted"
        raise NotImplementedError(message)

    def delete_file(self, path: str) -> None:
        with _as_os_errors():
            self._client.delete(path)

    def move(self, src: str, dest: str) -> None:
        with _as_os_errors():
            self._client.rename(src, dest, overwrite=True)

    def copy_file(self, src: str, dest: str) -> None:
        with _as_os_errors(), self._client.read(src) as reader:
            content = reader.read()
        self._write(dest, content)

    def open_input_stream(self, path: str) -> pa.PythonFile:
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.PythonFile:
        with _as_os_errors():
            reader = self._client.read(path)
            size = len(reader)

        def fetch(start: int, end: int) -> bytes:
            with _as_os_errors():
                return bytes(reader.read_range(start, end - start))

        return pa.PythonFile(Ranges(fetch, size), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(Upload(partial(self._write, path)), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        message = "files on HDFS are written whole"
        raise NotImplementedError(message)

    def _write(self, path: str, content: bytes) -> None:
        """Write a file beside its place and rename it, for others see a file that is being written."""
        folder, name = path.rsplit("/", 1)
        beside = f"{folder}/.{name}.{uuid.uuid4().hex[:12]}.tmp"
        try:
            with _as_os_errors():
                with self._client.create(beside) as sink:
                    sink.write(content)
                self._client.rename(beside, path, overwrite=True)
        except BaseException:
            with contextlib.suppress(OSError):  # it was not made, or the server is gone
                self.delete_file(beside)
            raise

    def _info(self, path: str) -> fs.FileInfo:
        try:
            with _as_os_errors():
                return _info_of(self._client.get_file_info(path))
        except FileNotFoundError:
            return fs.FileInfo(path, fs.FileType.NotFound)


def _info_of(status: Any) -> fs.FileInfo:
    if status.isdir:
        return fs.FileInfo(status.path, fs.FileType.Directory)
    changed = status.modification_time * 10**6  # in milliseconds
    return fs.FileInfo(status.path, fs.FileType.File, size=status.length, mtime_ns=changed)


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise what an operating system would in place of the client's errors, without Java's stack."""
    try:
        yield
    except Exception as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(text) from error
        if isinstance(error, PermissionError) or "AccessControlException" in str(error):
            raise PermissionError(text) from error
        raise OSError(text) from error
