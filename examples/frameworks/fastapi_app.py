"""FastAPI with Aerostack Realtime: it writes rows, sends events and issues tokens; the page subscribes.

    pip install aerostack-realtime fastapi uvicorn
    aerostack dev --db shop.db
    uvicorn --app-dir examples/frameworks fastapi_app:app

Open http://127.0.0.1:8000 and press the button: the row and the event arrive in every open page.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import jwt
from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from aerostack_realtime import Aerostack

URL = os.environ.get("AEROSTACK_URL", "http://127.0.0.1:8787")
SECRET_KEY = os.environ.get("AEROSTACK_SECRET_KEY", "ac_secret_dev")
TOKEN_SECRET = os.environ.get("AEROSTACK_TOKEN_SECRET", "aerostack-dev-token-secret-for-loopback-only")
TABLE = "CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, item TEXT)"
INSERT = "INSERT INTO orders (customer, item) VALUES (?, ?)"
PAGE = """<!doctype html>
<title>Orders</title>
<button id="order" disabled>Order tea</button> <ul id="orders"></ul> <p id="news"></p>
<script type="module">
  import { createClient } from 'AEROSTACK_URL/sdk/aerostack.js'

  const getToken = async () => (await (await fetch('/realtime-token', { method: 'POST' })).json()).token
  const realtime = createClient({ url: 'AEROSTACK_URL', getToken })
  await realtime
    .channel('orders')
    .on('INSERT', ({ data }) => document.querySelector('#orders').append(`${data.id}: ${data.item} `))
    .subscribe()
  await realtime
    .channel('notifications/alice')
    .on('shipped', ({ data }) => (document.querySelector('#news').textContent = `shipped: ${data.item}`))
    .subscribe()
  const button = document.querySelector('#order')
  button.onclick = () => fetch('/orders?item=tea', { method: 'POST' })
  button.disabled = false
</script>
""".replace("AEROSTACK_URL", URL)

sdk = Aerostack(URL, api_key=SECRET_KEY)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await sdk.db.query(TABLE)
    yield
    await sdk.close()


app = FastAPI(lifespan=lifespan)


def token_of(user: str) -> str:
    """Proves to the realtime server, for 15 minutes, who the user is."""
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now, "exp": now + 900}, TOKEN_SECRET, algorithm="HS256")


def current_user() -> str:
    """Your own sign-in says who this is."""
    return "alice"


@app.post("/realtime-token")
async def realtime_token() -> dict[str, str]:
    return {"token": token_of(current_user())}


@app.post("/orders")
async def order(item: str) -> dict[str, int]:
    user = current_user()
    result = await sdk.db.query(INSERT, [user, item])  # subscribers of the table are notified automatically
    await sdk.socket.emit("shipped", {"item": item}, f"notifications/{user}", persist=True)
    return {"rows": result.count}


@app.get("/")
async def page() -> HTMLResponse:
    return HTMLResponse(PAGE)
