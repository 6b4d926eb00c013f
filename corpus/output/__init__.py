"""What the stage writes: documents, decisions, the account in = kept + dropped, licences."""
