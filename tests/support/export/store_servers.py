"""Servers started for tests: rclone's S3 and web servers, and Azurite, Microsoft's emulator of Azure storage."""

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
import pytest

from tests.support import find_free_port
from tests.support.areas import describe_missing
from tests.support.waiting import is_answering, wait_until

BUCKET = "bucket"
S3_KEY, S3_SECRET = "publisher", "secret-of-the-tests"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The documented default key of Azurite."""


def build_s3_environment(port: int) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": S3_KEY,
        "AWS_SECRET_ACCESS_KEY": S3_SECRET,
        "AWS_DEFAULT_REGION": "eu-west-2",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run a server whose buckets are folders; yield the environment of its clients."""
    program, folder, port = _find_rclone(), tmp_path_factory.mktemp("s3"), find_free_port()
    (folder / BUCKET).mkdir()
    command = [program, "serve", "s3", "--auth-key", f"{S3_KEY},{S3_SECRET}", "--addr", f"127.0.0.1:{port}", folder]
    with _run(command, port):
        yield build_s3_environment(port)


@pytest.fixture
def in_s3(s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of an empty folder in a bucket, with the credentials in the environment."""
    for name, value in s3.items():
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@contextmanager
def run_web_server(folder: Path) -> Iterator[str]:
    """Run an ordinary web server of a folder, which supports range requests; yield its address."""
    program, port = _find_rclone(), find_free_port()
    with _run([program, "serve", "http", "--addr", f"127.0.0.1:{port}", "--copy-links", str(folder)], port):
        yield f"http://127.0.0.1:{port}"


def _find_rclone() -> str:
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip("rclone is not installed, whose servers this needs")
    return program


@contextmanager
def run_azure_server() -> Iterator[dict[str, str]]:
    """Run a server with one container; yield the environment of its clients."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip(describe_missing("azure"))
    port = find_free_port()
    connection = (
        f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURE_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
    )
    options = ["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--blobPort", str(port)]
    with _run([program, *options], port):
        from azure.storage.blob import BlobServiceClient

        BlobServiceClient.from_connection_string(connection).create_container(BUCKET)
        yield {"AZURE_STORAGE_CONNECTION_STRING": connection}


@contextmanager
def _run(command: list[str | Path], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: is_answering(port), of=process)
        yield
    finally:
        process.kill()
        process.wait()
