"""What judging answers costs in the engine, and by a second model that reads them."""
