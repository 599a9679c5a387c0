"""`make chaos`: breaks what the service stands on, on purpose, and checks what it still promises."""
