"""Plain HTTP/1.1 to few hosts, behind httpx's transport interface.

Nothing here does more than a gateway's calls need: no redirects, no cookies, no decoding,
no HTTP/2. What it does cost a third of what a general client costs.
"""

from memgpt_proxy.backend.http1.proxies import Proxies, ProxyFailed, UnusableProxy
from memgpt_proxy.backend.http1.transport import Http1Transport

__all__ = ["Http1Transport", "Proxies", "ProxyFailed", "UnusableProxy"]
