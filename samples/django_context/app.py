# SPDX-License-Identifier: Apache-2.0
"""A Django application for gunicorn -k gthread that keeps its requests: a context variable's list is filled by
each request and never emptied, since a worker's threads live on.

    gunicorn -k gthread -w 2 --threads 4 -b 127.0.0.1:PORT app:application

leakdiff must say, for each worker: bytes grow, kept by requests in a list that hangs from a context variable.
"""
import contextvars

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

settings.configure(DEBUG=False, ROOT_URLCONF=__name__, SECRET_KEY="a sample", ALLOWED_HOSTS=["*"],
                   DATA_UPLOAD_MAX_MEMORY_SIZE=1 << 26, MIDDLEWARE=[])
django.setup()

seen = contextvars.ContextVar("requests_seen")


def upload(request):
    requests = seen.get(None)
    if requests is None:
        requests = []
        seen.set(requests)
    requests.append(request)
    return HttpResponse("%d\n" % len(request.body))


urlpatterns = [path("", upload)]
application = get_wsgi_application()
