"""What the server and the pages say to each other: one pydantic model per request and per response.

The OpenAPI description is made from these models, and the TypeScript types of the pages from that description.
"""
