"""Teachers: fine-tuned for the task, and what they, or several of them, say of rows and texts."""
