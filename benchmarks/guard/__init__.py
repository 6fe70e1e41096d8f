"""The cost of judging answers in the engine, and by a second model that reads them."""
