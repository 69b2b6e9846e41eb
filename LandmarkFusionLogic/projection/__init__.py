"""From CT to X-ray: C-arm geometry, projector, similarities and the registrations that use them."""
