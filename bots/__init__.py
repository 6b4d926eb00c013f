"""Where people meet the model: one chat-and-search core, and its faces.

`core` streams answers through the OpenAI API (from a named server, or from `serve`, our own small one, which `child`
starts) and finds the training data that resembles them. Faces: `ask` (one question), `chat` (a terminal),
`python -m bots` (Slack: `slack_app` listens, `slack_jobs` queues, `slack_answer` works, `slack_stream` writes).
Importing this package loads none of them.
"""
