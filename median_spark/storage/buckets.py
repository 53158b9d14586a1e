"""Stores through obstore, for what pyarrow's own clients cannot do, seen as a filesystem of pyarrow's.

These clients cannot say who is billed. That of Azure, while it writes a file, shows an empty one to everybody.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pyarrow as pa
from pyarrow import fs

_RETRIES = {"max_retries": 10, "retry_timeout": timedelta(seconds=30)}

_user: int | None = None
"""The process that uses these clients."""

_PART_BYTES = 1 << 20
_EVERYTHING = 1 << 62


def s3_requester_pays(bucket: str, options: dict[str, Any]) -> fs.FileSystem:
    """Return a bucket on S3 with consent to be billed; `options` are obstore's, such as ``region``."""
    store = _stores("requester-pays").S3Store(
        bucket, config={**options, "request_payer": True}, client_options={"allow_http": True}, retry_config=_RETRIES
    )
    return fs.PyFileSystem(_Bucket(store, bucket))


def google_requester_pays(bucket: str, project: str, options: dict[str, Any]) -> fs.FileSystem:
    """Return a bucket on Google Cloud Storage with a project to be billed; `options` are obstore's."""
    client = {"allow_http": True, "default_headers": {"x-goog-user-project": project}}
    store = _stores("requester-pays").GCSStore(bucket, config=options, client_options=client, retry_config=_RETRIES)
    return fs.PyFileSystem(_Bucket(store, bucket))


def azure(container: str, account: str, options: dict[str, Any]) -> fs.FileSystem:
    """Return a container on Azure; `options` are obstore's, and come before those in the environment."""
    store = _stores("azure").AzureStore(
        container,
        account_name=account,
        config=options,
        client_options={"allow_http": True},
        retry_config=_RETRIES,
    )
    return fs.PyFileSystem(_Bucket(store, container))


def _stores(extra: str) -> Any:
    try:
        from obstore import store
    except ImportError as error:
        message = f"this is reached through the package obstore: pip install 'median_spark[{extra}]'"
        raise ImportError(message) from error
    refuse_forks()
    return store


def refuse_forks() -> None:
    """Raise OSError in a fork of a process that called this: it lacks the threads of the clients that are in Rust."""
    global _user
    if _user not in {None, os.getpid()}:
        message = "this process is a fork of one that has used such a store, and would wait forever: spawn it instead"
        raise OSError(message)
    _user = os.getpid()


class _Bucket(fs.FileSystemHandler):  # type: ignore[misc]
    """One bucket, as pyarrow sees a filesystem: paths begin with its name, and errors are an operating system's."""

    def __init__(self, store: Any, bucket: str) -> None:
        self._store, self._bucket = store, bucket

    def get_type_name(self) -> str:
        return "obstore"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        with _as_os_errors():
            return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        """Return what is in a folder; without a folder, nothing."""
        import obstore

        key = self._key(selector.base_dir)
        with _as_os_errors():
            if selector.recursive:
                return [
                    self._file(meta) for few in obstore.list(self._store, f"{key}/" if key else None) for meta in few
                ]
            found = obstore.list_with_delimiter(self._store, f"{key}/" if key else None)
        folders = [fs.FileInfo(f"{self._bucket}/{name}", fs.FileType.Directory) for name in found["common_prefixes"]]
        return [*folders, *(self._file(meta) for meta in found["objects"])]

    def create_dir(self, path: str, recursive: bool) -> None:  # noqa: FBT001
        """Do nothing: folders are parts of keys."""

    def delete_dir(self, path: str) -> None:
        import obstore

        with _as_os_errors():
            for few in obstore.list(self._store, f"{self._key(path)}/"):
                obstore.delete(self._store, [meta["path"] for meta in few])

    def delete_dir_contents(self, path: str, missing_dir_ok: bool = False) -> None:  # noqa: FBT001, FBT002
        self.delete_dir(path)

    def delete_root_dir_contents(self) -> None:
        message = "a whole bucket is not deleted"
        raise NotImplementedError(message)

    def delete_file(self, path: str) -> None:
        import obstore

        with _as_os_errors():
            obstore.delete(self._store, self._key(path))

    def move(self, src: str, dest: str) -> None:
        self.copy_file(src, dest)
        self.delete_file(src)

    def copy_file(self, src: str, dest: str) -> None:
        import obstore

        with _as_os_errors():
            obstore.copy(self._store, self._key(src), self._key(dest))

    def open_input_stream(self, path: str) -> pa.PythonFile:
        import obstore

        with _as_os_errors():
            return pa.PythonFile(_Body(obstore.get(self._store, self._key(path))), mode="r")

    def open_input_file(self, path: str) -> pa.PythonFile:
        import obstore

        key = self._key(path)

        def fetch(start: int, end: int) -> bytes:
            with _as_os_errors():
                return bytes(obstore.get_range(self._store, key, start=start, end=end))

        with _as_os_errors():
            return pa.PythonFile(Ranges(fetch, obstore.head(self._store, key)["size"]), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        import obstore

        def send(content: bytes) -> None:
            with _as_os_errors():
                obstore.put(self._store, self._key(path), content)

        return pa.PythonFile(Upload(send), mode="w")

    def open_append_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        message = "stores cannot append"
        raise NotImplementedError(message)

    def _key(self, path: str) -> str:
        return path.removeprefix(self._bucket).strip("/")

    def _file(self, meta: Any) -> fs.FileInfo:
        path = f"{self._bucket}/{meta['path']}"
        return fs.FileInfo(path, fs.FileType.File, size=meta["size"], mtime=meta["last_modified"])

    def _info(self, path: str) -> fs.FileInfo:
        import obstore

        key = self._key(path)
        if key:
            with contextlib.suppress(FileNotFoundError):
                return self._file(obstore.head(self._store, key))
        within = obstore.list_with_delimiter(self._store, f"{key}/" if key else None)
        there = not key or within["objects"] or within["common_prefixes"]
        return fs.FileInfo(path, fs.FileType.Directory if there else fs.FileType.NotFound)


class Ranges(io.RawIOBase):
    """A file of which each read is one request, for bytes from one place to another."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch, self._size = fetch, size
        self._at = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that any place can be read."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, all that are left by default."""
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        content = self._fetch(self._at, end)
        self._at += len(content)
        return content


class _Body(io.RawIOBase):
    """A file that is read from its beginning, by one request."""

    def __init__(self, answer: Any) -> None:
        self._parts = iter(answer.stream(min_chunk_size=_PART_BYTES))
        self._held = memoryview(b"")
        self._at = 0

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        wanted = _EVERYTHING if size is None or size < 0 else size
        found: list[memoryview] = []
        with _as_os_errors():
            while wanted and (self._held or self._fill()):
                found.append(self._held[:wanted])
                self._held = self._held[wanted:]
                wanted -= len(found[-1])
        content = b"".join(found)
        self._at += len(content)
        return content

    def _fill(self) -> bool:
        self._held = memoryview(next(self._parts, b"")).cast("B")
        return bool(self._held)


class Upload:
    """A file that is gathered in memory and sent when it is closed; one that is only forgotten never appears."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._content = io.BytesIO()
        self.closed = False

    def write(self, content: Any) -> int:
        """Gather bytes."""
        return self._content.write(memoryview(content).cast("B"))

    def flush(self) -> None:
        """Do nothing: all is sent at the end."""

    def close(self) -> None:
        """Send what was gathered, once."""
        if not self.closed:
            self._send(self._content.getvalue())
            self.closed = True


@contextlib.contextmanager
def _as_os_errors() -> Iterator[None]:
    """Raise what an operating system would in place of obstore's own errors."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError:
        raise
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionError(str(error)) from error
    except exceptions.BaseError as error:
        raise OSError(str(error)) from error
