"""Downloads, from a server of our own; without one, one message, soon."""

import gzip
import hashlib
import http.server
import os
import pickle
import socket
import subprocess
import sys
import tarfile
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from tuneapp import data
from tuneapp.data import download
from tuneapp.data.datasets import SOURCES
from tuneapp.errors import TuneappError


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of the folder `tmp_path/www`; gives its address."""
    (tmp_path / "www").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "www")

        def log_message(self, *_):
            pass

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, args=[0.02])
        thread.start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()
        thread.join()


def from_server(monkeypatch, name, server, md5):
    """Have `name` fetched from the server, not from its real host."""
    monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], folder=f"{server}/", md5=md5))


@pytest.fixture
def fashion(tmp_path, monkeypatch, server):
    """fashion-mnist of 20 and 10 images on the server; gives its training images and labels."""
    rng = np.random.default_rng(0)
    md5, arrays = {}, {}
    for part, count in (("train", 20), ("t10k", 10)):
        arrays[part] = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), np.arange(count) % 10
        for array, kind in zip(arrays[part], ("images-idx3", "labels-idx1"), strict=True):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
            packed = gzip.compress(content)
            file = f"{part}-{kind}-ubyte.gz"
            (tmp_path / "www" / file).write_bytes(packed)
            md5[file] = hashlib.md5(packed).hexdigest()
    from_server(monkeypatch, "fashion-mnist", server, md5)
    return arrays["train"]


def test_a_download_is_kept_as_arrays_and_nothing_else(tmp_path, fashion):
    images = data.load("fashion-mnist", tmp_path / "data")
    assert np.array_equal(images.train_images[..., 0], fashion[0])
    assert np.array_equal(images.train_labels, fashion[1])
    assert images.test_images.shape == (10, 28, 28, 1)
    assert images.classes[0] == "T-shirt/top"
    assert images.flip
    assert images.source.startswith("FashionMNIST, downloaded from http://127.0.0.1:")
    assert data.verify("fashion-mnist", tmp_path / "data").recorded
    names = {path.name for path in (tmp_path / "data").iterdir()}
    assert names == {".fashion-mnist.lock", "fashion-mnist"}


def test_a_set_is_downloaded_once(tmp_path, fashion):
    first = data.load("fashion-mnist", tmp_path / "data").checksum
    for path in (tmp_path / "www").iterdir():
        path.unlink()
    assert data.load("fashion-mnist", tmp_path / "data").checksum == first


def test_cifar_is_downloaded_too(tmp_path, monkeypatch, server):
    rng = np.random.default_rng(0)
    entries = {
        name: {"data": rng.integers(0, 256, (10, 3072), dtype=np.uint8), "labels": list(range(10))}
        for name in ("data_batch_1", "test_batch")
    } | {"batches.meta": {"label_names": list("abcdefghij")}}
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name, entry in entries.items():
        (folder / name).write_bytes(pickle.dumps(entry))
    archive = tmp_path / "www" / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, folder.name)
    md5 = {archive.name: hashlib.md5(archive.read_bytes()).hexdigest()}
    from_server(monkeypatch, "cifar10", server, md5)
    images = data.load("cifar10", tmp_path / "data")
    planes = entries["data_batch_1"]["data"].reshape(10, 3, 32, 32)
    assert np.array_equal(images.train_images, planes.transpose(0, 2, 3, 1))
    assert images.classes == list("abcdefghij")


@pytest.mark.parametrize("fault", ["missing", "changed"])
def test_a_download_that_fails_half_way_leaves_no_set(tmp_path, fashion, fault):
    path = tmp_path / "www" / "t10k-labels-idx1-ubyte.gz"
    if fault == "missing":
        path.unlink()
    else:
        path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(TuneappError) as caught:
        data.load("fashion-mnist", tmp_path / "data")
    assert "\n" not in str(caught.value)
    assert "`tuneapp data import fashion-mnist PATH`" in str(caught.value)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".fashion-mnist.lock"]


def test_a_download_that_stalls_is_given_up_and_leaves_other_sockets_alone(tmp_path, monkeypatch, server):
    monkeypatch.setattr(download, "unreachable", lambda host: "")
    monkeypatch.setattr(download, "STALL_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        folder = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        with pytest.raises(TuneappError, match=r"cifar10 must be .* that failed .*timed out"):
            download.download("cifar10", replace(SOURCES["cifar10"], folder=folder), tmp_path)
    assert socket.getdefaulttimeout() is None


def test_sources_are_those_that_torchvision_has():
    from torchvision import datasets

    for kind, name in ((datasets.MNIST, "mnist"), (datasets.FashionMNIST, "fashion-mnist")):
        assert dict(kind.resources) == SOURCES[name].md5
        assert SOURCES[name].folder in kind.mirrors
    assert datasets.FashionMNIST.classes == SOURCES["fashion-mnist"].classes
    for kind, name in ((datasets.CIFAR10, "cifar10"), (datasets.CIFAR100, "cifar100")):
        assert {kind.filename: kind.tgz_md5} == SOURCES[name].md5
        assert kind.url == SOURCES[name].folder + kind.filename


def test_any_answer_of_a_host_shows_that_it_is_there(server):
    assert download.unreachable(server) == ""
    assert download.unreachable(f"{server}/nowhere") == ""


def test_a_host_that_refuses_is_known_at_once(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert "refused" in download.unreachable(f"http://127.0.0.1:{unused.getsockname()[1]}")


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        before = time.monotonic()
        assert download.unreachable(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert time.monotonic() - before < 2


@pytest.mark.parametrize("name", [name for name, built_in in data.DATASETS.items() if built_in.stored])
def test_without_a_network_there_is_one_line_with_the_remedy_in_seconds(tmp_path, name):
    proxy = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}  # where nobody listens
    code = f"""
import sys
from pathlib import Path
from tuneapp import data
from tuneapp.errors import TuneappError
try:
    data.load({name!r}, Path({str(tmp_path / "data")!r}))
except TuneappError as error:
    print(error)
    print(error.exit_code, "torch" in sys.modules)
"""
    before = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | proxy | {"no_proxy": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert time.monotonic() - before < 10
    message, rest = found.stdout.splitlines()
    assert message.startswith(f"{name} must be downloaded once, but that failed (http")
    assert f"`tuneapp data import {name} PATH`" in message
    assert "`digits`" in message
    assert (rest, found.stderr) == ("1 False", "")
    assert data.names(tmp_path / "data") == list(data.DATASETS)
