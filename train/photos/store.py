"""Arrays in a file instead of in memory: what a training reads again in each pass, however many photos there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from models.errors import EdgeWatchError


class Store:
    """An array whose rows lie in a file: `store[3]` and `store[rows]` read, `store[3] = row` writes.

    It is no memory map: mapped pages count as memory of the process, these do not. What is read often is in the
    system's own cache of files as long as there is room.
    """

    _file: int | None = None
    """Of the class, so that one whose making was interrupted can be closed as well."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        """Make the file, with room for all of it.

        Args:
            path: the new file; the caller removes it.
            shape: of the whole array.
            dtype: of its numbers.

        Raises:
            EdgeWatchError: no room for the file.
        """
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.shape, self.path = shape, path
        self._row = int(np.prod(shape[1:], dtype=np.int64)) * self.dtype.itemsize
        need = max(1, shape[0] * self._row)
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.posix_fallocate(self._file, 0, need)  # A full disk shows here, and not in the middle.
        except OSError as error:
            self.close()
            raise EdgeWatchError(f"{path.parent}: expected room for {need / 1e6:.0f} MB of decoded photos, found: "
                                 f"{error.strerror}; make room or choose another --out") from error

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def __del__(self) -> None:
        """Close the file when nobody holds the array any more."""
        self.close()

    def shorten(self, rows: int) -> None:
        """Forget all but the first `rows` rows."""
        self.shape = (min(rows, self.shape[0]), *self.shape[1:])

    def __len__(self) -> int:
        """The number of rows."""
        return self.shape[0]

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """One row (of shape `shape[1:]`), or those of a slice, a list or an array of indexes, in that order."""
        if isinstance(rows, (int, np.integer)):
            out = np.empty(self.shape[1:], self.dtype)
            self._read(int(rows), out)
            return out
        wanted = np.arange(len(self))[rows]
        many = np.empty((len(wanted), *self.shape[1:]), self.dtype)
        for place, row in enumerate(wanted):
            self._read(int(row), many[place])
        return many

    def _read(self, row: int, out: NDArray[Any]) -> None:
        if not 0 <= row < len(self) or self._file is None:
            raise IndexError(f"expected a row from 0 to {len(self) - 1} of an open file, found {row}")
        if os.preadv(self._file, [out.reshape(-1).view(np.uint8).data], row * self._row) != self._row:
            raise OSError(f"{self.path}: expected {self._row} bytes of row {row}, found fewer")

    def __setitem__(self, row: int, value: NDArray[Any]) -> None:
        """Write one row."""
        if not 0 <= row < len(self) or self._file is None:
            raise IndexError(f"expected a row from 0 to {len(self) - 1} of an open file, found {row}")
        content = np.ascontiguousarray(np.broadcast_to(value, self.shape[1:]), self.dtype)
        os.pwrite(self._file, content.tobytes(), row * self._row)
