"""The Slack app: events in, streamed answers and search results out.

app.py     the listeners: acknowledge an event, queue the question
text.py    text between Slack and the model
jobs.py    the queue of questions and its worker threads
answer.py  one question: history, streamed answer, search results
stream.py  one answer as one or more streamed messages
blocks.py  search results as Slack blocks, with paging
api.py     Slack's Web API with rate limits and lost replies
"""
