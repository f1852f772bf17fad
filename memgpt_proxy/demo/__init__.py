"""The demo backend: a small rule-based model behind an ordinary chat-completions server.

It replays no script. Like any model it reads its prompt and uses the functions it is given, so
that the gateway can be tried without a key and without a model. `model.answer` is the model,
`server.create_app` the server.
"""
