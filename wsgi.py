"""What gunicorn and the flask command import."""

from app import create_app
from config import Config

app = create_app(Config.load())
