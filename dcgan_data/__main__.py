"""``python -m dcgan_data`` is the console script ``dcgan-data``."""

from dcgan_data.cli import main

if __name__ == "__main__":
    main()
