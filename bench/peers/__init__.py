"""The peers of the comparison: each is a few lines around the public interface of another product."""
