"""What to configure against each fault: the line for each proxy, or the setting of the server."""

from typing import Final, Literal

Proxy = Literal["nginx", "haproxy", "caddy", "traefik"]
PROXIES: Final[tuple[Proxy, ...]] = ("nginx", "haproxy", "caddy", "traefik")
SERVER: Final = "aerostack.toml"
"""The name under which a remedy in the server's own settings stands."""

Remedy = dict[str, str]
NO_REMEDY: Final[Remedy] = {}

UPSTREAM: Final[Remedy] = {
    "nginx": "proxy_pass http://127.0.0.1:8787;",
    "haproxy": "server one 127.0.0.1:8787 check",
    "caddy": "reverse_proxy 127.0.0.1:8787",
    "traefik": 'services.aerostack.loadBalancer.servers: [{url: "http://127.0.0.1:8787"}]',
}
PATH: Final[Remedy] = {
    "nginx": "proxy_pass http://127.0.0.1:8787; without a path after the port",
    "haproxy": "remove http-request set-path and replace-path",
    "caddy": "handle instead of handle_path, and no rewrite or uri",
    "traefik": "remove the middlewares stripPrefix, addPrefix and replacePath from the router",
}
UPGRADE: Final[Remedy] = {
    "nginx": "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; "
    "proxy_set_header Connection $connection_upgrade;",
    "haproxy": "mode http, and no http-request del-header Upgrade or Connection",
    "caddy": "reverse_proxy 127.0.0.1:8787 without header_up Connection or Upgrade",
    "traefik": "no customRequestHeaders for Connection or Upgrade",
}
SUBPROTOCOL: Final[Remedy] = {
    "nginx": "remove proxy_set_header and proxy_hide_header for Sec-WebSocket-Protocol",
    "haproxy": "remove del-header Sec-WebSocket-Protocol",
    "caddy": "remove header_up for Sec-WebSocket-Protocol",
    "traefik": "remove Sec-WebSocket-Protocol from customRequestHeaders and customResponseHeaders",
}
BUFFERING: Final[Remedy] = {
    "nginx": "proxy_buffering off;",
    "haproxy": "remove option http-buffer-request and the filters that hold responses",
    "caddy": "flush_interval -1, and no response_buffers",
    "traefik": "remove the middleware buffering from the router",
}
IDLE: Final[Remedy] = {
    "nginx": "proxy_read_timeout 120s; proxy_send_timeout 120s;",
    "haproxy": "timeout tunnel 120s",
    "caddy": "remove stream_timeout from reverse_proxy",
    "traefik": "Traefik keeps idle WebSockets: raise the idle time-out of the load balancer in front of it",
}
HOST: Final[Remedy] = {
    "nginx": "proxy_set_header Host $host; (on another port than 80 and 443: $http_host)",
    "haproxy": "remove http-request set-header Host",
    "caddy": "header_up Host {host}",
    "traefik": "loadBalancer.passHostHeader: true",
}
ORIGIN: Final[Remedy] = {
    "nginx": "remove proxy_set_header Origin",
    "haproxy": "remove http-request del-header Origin and set-header Origin",
    "caddy": "remove header_up for Origin",
    "traefik": "remove Origin from customRequestHeaders",
}
ADDRESS: Final[Remedy] = {
    "nginx": "proxy_set_header X-Forwarded-For $remote_addr;",
    "haproxy": "option forwardfor",
    "caddy": "remove header_up -X-Forwarded-For (Caddy sets it unless a line removes it)",
    "traefik": "remove X-Forwarded-For from customRequestHeaders (Traefik sets it unless a line removes it)",
}
SCHEME: Final[Remedy] = {
    "nginx": "proxy_set_header X-Forwarded-Proto $scheme;",
    "haproxy": "http-request set-header X-Forwarded-Proto https if { ssl_fc }",
    "caddy": "remove header_up for X-Forwarded-Proto (Caddy sets it unless a line removes it)",
    "traefik": "remove X-Forwarded-Proto from customRequestHeaders",
}
HEADERS: Final[Remedy] = {
    "nginx": "large_client_header_buffers 4 16k;",
    "haproxy": "tune.bufsize 32768",
    "caddy": "servers { max_header_size 32KB }",
    "traefik": "entryPoints.websecure.http.maxHeaderBytes: 32768",
}
BODY: Final[Remedy] = {
    "nginx": "client_max_body_size 2m;",
    "haproxy": "remove the http-request deny rule for req.body_size",
    "caddy": "request_body { max_size 2MB }",
    "traefik": "maxRequestBodyBytes: 2097152 in the middleware buffering, or no such middleware",
}
COMPRESSION: Final[Remedy] = {
    "nginx": "gzip off;",
    "haproxy": "remove compression algo",
    "caddy": "remove encode, or limit it to other paths",
    "traefik": "remove the middleware compress from the router",
}
CACHE: Final[Remedy] = {
    "nginx": "proxy_cache off;",
    "haproxy": "remove http-request cache-use and http-response cache-store",
    "caddy": "remove the cache directive",
    "traefik": "remove the caching plugin from the router",
}
CERTIFICATE: Final[Remedy] = {
    "nginx": "ssl_certificate /etc/ssl/realtime.pem; (the server's certificate, then the intermediate ones)",
    "haproxy": "bind :443 ssl crt /etc/ssl/realtime-with-key.pem",
    "caddy": "realtime.example.com { … } (Caddy obtains the certificate for this name)",
    "traefik": "routers.aerostack.tls.certResolver, with this name in the router's rule",
}
