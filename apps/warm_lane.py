"""The warm lane's process: `python -m apps.warm_lane` draws single images with a resident engine."""

from apps.runs import serve_warm_lane

if __name__ == "__main__":
    serve_warm_lane()
