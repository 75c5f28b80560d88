"""`portal`: the page of a customer for its own people."""

from __future__ import annotations

from taximeter.adapters.cli.common import Server, console, plain_time, print_json, segment

HERE = Server()


def portal(customer: str, *, ttl: int = 604800, revoke: bool = False, server: Server = HERE) -> int:
    """
    Make an address of the customer's portal, or revoke all of them.

    Parameters
    ----------
    customer
        Its key.
    ttl
        For how many seconds it works.
    revoke
        Revoke every address made so far instead.
    """
    client = server.client()
    path = f"/v1/customers/{segment(customer)}/portal"
    if revoke:
        answer = client.request("DELETE", path).json()
        text = f"revoked {answer['revoked']}"
    else:
        answer = client.post(path, {"ttl_s": ttl})
        text = f"{client.url}{answer['url']}\nworks until {plain_time(answer['expires_at'])}"
    if server.json:
        print_json(answer)
    else:
        console().print(text, markup=False, soft_wrap=True)
    return 0
