"""Django with Aerostack Realtime: it writes rows, sends events and issues tokens; the page subscribes.

    pip install aerostack-realtime django
    aerostack dev --db shop.db
    python examples/frameworks/django_app.py runserver 8000

Open http://127.0.0.1:8000 and press the button: the row and the event arrive in every open page.
"""

import os
import sys
import time

import jwt
from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

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

settings.configure(DEBUG=True, ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1", "localhost"])
sdk = Aerostack(URL, api_key=SECRET_KEY)  # connects with the first call, so each worker has its own


def token_of(user: str) -> str:
    """Proves to the realtime server, for 15 minutes, who the user is."""
    now = int(time.time())
    return jwt.encode({"sub": user, "iat": now, "exp": now + 900}, TOKEN_SECRET, algorithm="HS256")


def current_user() -> str:
    """Your own sign-in says who this is."""
    return "alice"


@csrf_exempt  # your own app has sessions and CSRF tokens
@require_POST
def realtime_token(_request: HttpRequest) -> HttpResponse:
    return JsonResponse({"token": token_of(current_user())})


@csrf_exempt
@require_POST
def order(request: HttpRequest) -> HttpResponse:
    user, item = current_user(), request.GET["item"]
    result = sdk.db.query(INSERT, [user, item])  # subscribers of the table are notified automatically
    sdk.socket.emit("shipped", {"item": item}, f"notifications/{user}", persist=True)
    return JsonResponse({"rows": result.count})


def page(_request: HttpRequest) -> HttpResponse:
    sdk.db.query(TABLE)
    return HttpResponse(PAGE)


urlpatterns = [path("", page), path("orders", order), path("realtime-token", realtime_token)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
