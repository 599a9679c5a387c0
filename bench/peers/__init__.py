"""What the service is compared with: each a few lines against the other's public interface."""
