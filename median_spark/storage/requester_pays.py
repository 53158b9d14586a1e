"""Stores whose requests the requester pays for: through obstore, because pyarrow's clients cannot say who is billed."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import fs


def s3_requester_pays(options: dict[str, Any]) -> fs.FileSystem:
    """Return S3 with consent to be billed; `options` are obstore's, such as ``region``."""
    return _filesystem("s3", {**options, "request_payer": True}, {})


def google_requester_pays(project: str, options: dict[str, Any]) -> fs.FileSystem:
    """Return Google Cloud Storage with a project to be billed; `options` are obstore's."""
    return _filesystem("gs", options, {"default_headers": {"x-goog-user-project": project}})


def _filesystem(protocol: str, options: dict[str, Any], client: dict[str, Any]) -> fs.FileSystem:
    try:
        from obstore.fsspec import FsspecStore
    except ImportError as error:
        message = "a requester pays through the package obstore: pip install 'median_spark[requester-pays]'"
        raise ImportError(message) from error
    make: Any = FsspecStore  # its types are by protocol
    client |= {"allow_http": True}  # of endpoints that are given so; those of AWS and Google are https
    store = make(protocol, config=options, client_options=client, skip_instance_cache=True)
    return fs.PyFileSystem(_Handler(store))


class _Handler(fs.FSSpecHandler):  # type: ignore[misc]
    """What pyarrow needs of a filesystem, with the errors of an operating system, and times of change."""

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        """Return what is at some paths."""
        with _as_os_errors():
            return [self._info_of(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        """Return what is in a folder."""
        with _as_os_errors():
            depth = None if selector.recursive else 1
            found = self.fs.find(selector.base_dir, maxdepth=depth, withdirs=True, detail=True)
            return [_info(path, held) for path, held in found.items() if path != selector.base_dir]

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open a file for reading ranges."""
        with _as_os_errors():
            return pa.PythonFile(_Ranges(self.fs, path), mode="r")

    def open_input_stream(self, path: str) -> pa.PythonFile:
        """Open a file for reading."""
        return self.open_input_file(path)

    def delete_file(self, path: str) -> None:
        """Delete a file."""
        with _as_os_errors():
            super().delete_file(path)

    def delete_dir(self, path: str) -> None:
        """Delete all files below a path."""
        with _as_os_errors():
            super().delete_dir(path)

    def copy_file(self, src: str, dest: str) -> None:
        """Copy a file within the store."""
        with _as_os_errors():
            super().copy_file(src, dest)

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        """Open a file for writing; it appears when it is closed."""
        with _as_os_errors():
            return super().open_output_stream(path, metadata)

    def _info_of(self, path: str) -> fs.FileInfo:
        try:
            return _info(path, self.fs.info(path))
        except FileNotFoundError:
            return fs.FileInfo(path, fs.FileType.NotFound)


def _info(path: str, held: dict[str, Any]) -> fs.FileInfo:
    if held["type"] == "directory":
        return fs.FileInfo(path, fs.FileType.Directory)
    return fs.FileInfo(path, fs.FileType.File, size=held["size"], mtime=held.get("last_modified"))


class _Ranges(io.RawIOBase):
    """A file of which each read is one request."""

    def __init__(self, store: Any, path: str) -> None:
        self._store, self._path = store, path
        self._size: int = store.info(path)["size"]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        with _as_os_errors():
            content: bytes = self._store.cat_file(self._path, start=self._at, end=end)
        self._at += len(content)
        return content


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise what an operating system would in place of obstore's own errors."""
    from obstore import exceptions

    try:
        yield
    except (FileNotFoundError, exceptions.NotFoundError) as error:
        raise FileNotFoundError(str(error)) from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(str(error)) from error
    except exceptions.BaseError as error:
        raise OSError(str(error)) from error
