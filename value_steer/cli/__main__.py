"""``python -m value_steer.cli``."""

from value_steer.cli import main

raise SystemExit(main())
