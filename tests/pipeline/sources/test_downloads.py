"""Downloads arrive whole or not at all."""

from __future__ import annotations

import hashlib
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from image_files import noise, write_cifar10

from pipeline.errors import DataError
from pipeline.sources import SOURCES
from pipeline.sources.download import download
from pipeline.sources.torchvision import Cifar10


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server on this machine, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", folder
        http.shutdown()
        thread.join()


def test_a_download_arrives_whole_or_not_at_all(tmp_path: Path, server: tuple[str, Path]) -> None:
    url, folder = server
    content = noise(0, 3_000_000).tobytes()
    (folder / "x").write_bytes(content)
    target = tmp_path / "data" / "x"
    with pytest.raises(DataError, match=f"{url}/x must have the MD5 0+; got [0-9a-f]+: try again, or put"):
        download(f"{url}/x", target, "0" * 32)
    with pytest.raises(DataError, match="must be reachable to be downloaded; got HTTP Error 404"):
        download(f"{url}/y", target, "0" * 32)
    assert list(target.parent.iterdir()) == []
    download(f"{url}/x", target, hashlib.md5(content).hexdigest())
    assert target.read_bytes() == content
    assert list(target.parent.iterdir()) == [target]


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must be reachable to be downloaded; got .*refused"):
        download("http://127.0.0.1:1/x", tmp_path / "x", "")


def test_a_server_that_hangs_up_is_one_line(tmp_path: Path) -> None:
    class HangsUp(Quiet):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"10\r\n0123")
            self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), HangsUp) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        with pytest.raises(DataError, match=r"reachable to be downloaded; got IncompleteRead\(.*: try"):
            download(f"http://127.0.0.1:{http.server_port}/x", tmp_path / "x", "")
        http.shutdown()
        thread.join()
    assert list(tmp_path.iterdir()) == []


def test_a_named_source_is_downloaded_only_when_asked_and_only_once(
    tmp_path: Path, server: tuple[str, Path]
) -> None:
    url, folder = server
    write_cifar10(tmp_path / "x" / "cifar-10-batches-py")
    with tarfile.open(folder / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x" / "cifar-10-batches-py", "cifar-10-batches-py")
    md5 = hashlib.md5((folder / "cifar-10-python.tar.gz").read_bytes()).hexdigest()

    class Local(Cifar10):
        _md5 = md5

    data_dir = tmp_path / "data"
    with pytest.raises(DataError, match="put them there, or give --download"):
        Local(mirror=url).open("train", data_dir)
    assert not data_dir.exists()
    assert len(Local(mirror=url).open("train", data_dir, download=True)) == 25
    (folder / "cifar-10-python.tar.gz").unlink()
    assert len(Local(mirror=url).open("test", data_dir, download=True)) == 5


def test_the_published_addresses_are_torchvisions() -> None:
    from torchvision import datasets

    def remote(name: str, split: str = "train") -> list[tuple[str, str, str]]:
        return [(file.url, file.place, file.md5) for file in SOURCES[name]().remotes(split)]

    for name, theirs in (("cifar10", datasets.CIFAR10), ("cifar100", datasets.CIFAR100)):
        assert remote(name) == [(theirs.url, theirs.filename, theirs.tgz_md5)]
    for split, (url, file, md5) in datasets.SVHN.split_list.items():
        assert remote("svhn", split) == [(url, file, md5)]
    mirror = datasets.FashionMNIST.mirrors[0]
    files = remote("fashion_mnist") + remote("fashion_mnist", "test")
    wanted = [
        (mirror + name, f"FashionMNIST/raw/{name}", md5) for name, md5 in datasets.FashionMNIST.resources
    ]
    assert files == wanted
