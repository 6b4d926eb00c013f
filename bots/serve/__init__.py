"""The model server behind the OpenAI API: `python -m bots.serve`."""
