"""Create the lake's bucket on a new S3 server, and prove that it is writable.

    python -m deployments.servers.bucket

A second run changes nothing. On AWS Terraform creates the bucket.
"""

import sys
import time

from blocks.settings import Settings
from deployments.servers.seaweedfs import bucket_is_writable

PATIENCE_SECONDS = 120


def main() -> int:
    """Exit code 0: the lake is writable; 1: it is not within two minutes."""
    settings = Settings.read()
    since = time.monotonic()
    while not bucket_is_writable(settings):
        if time.monotonic() - since > PATIENCE_SECONDS:
            print(
                f"{settings.lake} could not be written to at {settings.s3_endpoint_url} for "
                f"{PATIENCE_SECONDS} s: see that server's log.",
                file=sys.stderr,
            )
            return 1
        time.sleep(0.5)
    print(f"{settings.lake} exists and is writable.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
