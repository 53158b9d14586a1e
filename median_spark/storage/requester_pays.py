"""Stores whose requests the requester pays for: through obstore, because pyarrow's clients cannot say who is billed."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyarrow import fs


def s3_requester_pays(bucket: str, options: dict[str, Any]) -> fs.FileSystem:
    """Return a bucket on S3 with consent to be billed; `options` are obstore's, such as ``region``."""
    store = _stores().S3Store(bucket, config={**options, "request_payer": True}, client_options={"allow_http": True})
    return fs.PyFileSystem(_Bucket(store, bucket))


def google_requester_pays(bucket: str, project: str, options: dict[str, Any]) -> fs.FileSystem:
    """Return a bucket on Google Cloud Storage with a project to be billed; `options` are obstore's."""
    client = {"allow_http": True, "default_headers": {"x-goog-user-project": project}}
    return fs.PyFileSystem(_Bucket(_stores().GCSStore(bucket, config=options, client_options=client), bucket))


def _stores() -> Any:
    try:
        from obstore import store
    except ImportError as error:
        message = "a requester pays through the package obstore: pip install 'median_spark[requester-pays]'"
        raise ImportError(message) from error
    return store


class _Bucket(fs.FileSystemHandler):  # type: ignore[misc]
    """One bucket, as pyarrow sees a filesystem: paths begin with its name, and errors are an operating system's."""

    def __init__(self, store: Any, bucket: str) -> None:
        self._store, self._bucket = store, bucket

    def get_type_name(self) -> str:
        return "requester pays"

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
        return self.open_input_file(path)

    def open_input_file(self, path: str) -> pa.PythonFile:
        import obstore

        with _as_os_errors():
            meta = obstore.head(self._store, self._key(path))
        return pa.PythonFile(_Ranges(self._store, self._key(path), meta["size"]), mode="r")

    def open_output_stream(self, path: str, metadata: Any) -> pa.PythonFile:
        return pa.PythonFile(_Upload(self._store, self._key(path)), mode="w")

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


class _Ranges(io.RawIOBase):
    """A file of which each read is one request."""

    def __init__(self, store: Any, key: str, size: int) -> None:
        self._store, self._key, self._size = store, key, size
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
        import obstore

        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        if end <= self._at:
            return b""
        with _as_os_errors():
            content = bytes(obstore.get_range(self._store, self._key, start=self._at, end=end))
        self._at += len(content)
        return content


class _Upload:
    """A file that is gathered in memory and appears when it is closed; one that is only forgotten never does."""

    def __init__(self, store: Any, key: str) -> None:
        self._store, self._key = store, key
        self._content = io.BytesIO()
        self.closed = False

    def write(self, content: Any) -> int:
        return self._content.write(memoryview(content).cast("B"))

    def flush(self) -> None:
        """Do nothing: all is sent at the end."""

    def close(self) -> None:
        import obstore

        if not self.closed:
            with _as_os_errors():
                obstore.put(self._store, self._key, self._content.getvalue())
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
