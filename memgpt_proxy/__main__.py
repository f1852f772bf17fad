"""``python -m memgpt_proxy`` is the same as ``memgpt-proxy``."""

from memgpt_proxy.cli import main

if __name__ == "__main__":
    main()
