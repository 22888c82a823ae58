"""An object store on loopback that speaks S3: moto's server, and a bucket of it for the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import fsspec
import httpx
import pytest
from moto.server import ThreadedMotoServer

BUCKET = "evidence"
_WORDS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "eu-central-1"}


@contextmanager
def server() -> Iterator[Any]:
    """A client for a running server; the environment names it, as a person's would."""
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    httpx.post(
        f"http://{host}:{port}/moto-api/reset", trust_env=False
    )  # its buckets are those of the process: an earlier server's too
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_WORDS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}.items():
            patch.setenv(name, value)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
        fsspec.get_filesystem_class("s3").clear_instance_cache()
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        try:
            yield client
        finally:
            fsspec.get_filesystem_class("s3").clear_instance_cache()
            client.close()
            running.stop()
