"""`python -m cadre_cli` is `cadre`."""

from cadre_cli.main import main

if __name__ == "__main__":
    main()
