"""Reads the file stand-in with Microsoft's own client. Settings come as variables; the first thing that is wrong ends it."""

import hashlib
import os

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ManagedIdentityCredential
from azure.storage.fileshare import LinearRetry, ShareServiceClient

url, account, key = (os.environ[name] for name in ("FILES_URL", "FILES_ACCOUNT", "FILES_KEY"))
secure_url, certificate = os.environ["FILES_TLS_URL"], os.environ["FILES_CERTIFICATE"]


def signed(key):
    credential = {"account_name": account, "account_key": key}
    return ShareServiceClient(url, credential=credential, retry_policy=LinearRetry(backoff=0, retry_total=3))


def check(found, expected):
    assert found == expected, f"found {found!r}, expected {expected!r}"


def look(service):
    check([share.name for share in service.list_shares()], ["flat", "odd"])
    odd = service.get_share_client("odd")
    names = sorted(item.name for item in odd.list_directories_and_files())
    check(names, sorted(["in ї #1", "100%.txt", "a#b c.txt", "z\ufffe.txt"]))
    deep = [(item.name, item.size) for item in odd.list_directories_and_files("in ї #1")]
    check(deep, [("deep & <odd>.txt", 5)])
    file = odd.get_file_client("in ї #1/deep & <odd>.txt")
    check(file.get_file_properties().size, 5)
    check(file.download_file().readall(), b"hello")
    check(odd.get_file_client("z\ufffe.txt").download_file().readall(), b"strange")


service = signed(key)
look(service)

pages = service.get_share_client("flat").list_directories_and_files(
    include=["timestamps", "Etag"], results_per_page=5000
)
pages = [list(page) for page in pages.by_page()]
check([len(page) for page in pages], [1000, 0, 1000, 500])
entry = pages[0][0]
assert entry.last_modified and entry.creation_time and entry.etag, entry
bare = next(iter(service.get_share_client("flat").list_directories_and_files()))
assert bare.last_modified is None and bare.etag is None, bare

large = service.get_share_client("odd").get_file_client("100%.txt")
check(hashlib.md5(large.download_file(max_concurrency=2).readall()).hexdigest(), os.environ["LARGE_MD5"])

try:
    service.get_share_client("none").get_file_client("x").get_file_properties()
    raise AssertionError("a share that is not there was read")
except ResourceNotFoundError:
    pass

try:
    list(signed("c2VjcmV0").list_shares())
    raise AssertionError("a wrong key was accepted")
except HttpResponseError as error:
    check((error.status_code, error.error_code), (403, "AuthenticationFailed"))

look(
    ShareServiceClient(
        secure_url,
        credential=ManagedIdentityCredential(),
        token_intent="backup",
        connection_verify=certificate,
    )
)
print("files: all as expected")
