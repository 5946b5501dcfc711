"""What schemathesis does not know by itself; loaded by test_openapi.py."""

import schemathesis

schemathesis.serializer.alias("application/sdp", "text/plain")
