"""The warm lane's process: `python -m apps.warm_lane` draws single images with a resident engine."""

import faulthandler
import sys

from apps.runs import serve_warm_lane

if __name__ == "__main__":
    faulthandler.enable()  # a library that crashes says where
    try:
        serve_warm_lane()
    finally:
        sys.stderr.write("The warm lane ends.\n")
