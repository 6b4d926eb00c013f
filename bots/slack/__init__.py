"""The Slack app: events in, streamed answers and search hits out."""
