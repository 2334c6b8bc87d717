"""shortsdb: the models and the migrations of the Shorts pipeline's database."""

__version__ = "0.1.0"
