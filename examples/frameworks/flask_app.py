"""Flask with Aerostack Realtime: it writes rows, sends events and issues tokens; the page subscribes.

    pip install aerostack-realtime flask
    aerostack dev --db shop.db
    flask --app examples/frameworks/flask_app.py run --port 8000

Open http://127.0.0.1:8000 and press the button: the row and the event arrive in every open page.
"""

import os
import time

import jwt
from flask import Flask, request

from aerostack_realtime.blocking import Aerostack

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

app = Flask(__name__)
sdk = Aerostack(URL, api_key=SECRET_KEY)  # connects with the first call, so each worker has its own


def token_of(user: str) -> str:
    """Proves to the realtime server, for 15 minutes, who the user is."""
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now, "exp": now + 900}, TOKEN_SECRET, algorithm="HS256")


def current_user() -> str:
    """Your own sign-in says who this is."""
    return "alice"


@app.post("/realtime-token")
def realtime_token() -> dict[str, str]:
    return {"token": token_of(current_user())}


@app.post("/orders")
def order() -> dict[str, int]:
    user, item = current_user(), request.args["item"]
    result = sdk.db.query(INSERT, [user, item])  # subscribers of the table are notified automatically
    sdk.socket.emit("shipped", {"item": item}, f"notifications/{user}", persist=True)
    return {"rows": result.count}


@app.get("/")
def page() -> str:
    sdk.db.query(TABLE)
    return PAGE
