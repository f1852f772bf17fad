import time
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.memory.tokens import TokenCounter

C = TokenCounter("cl100k_base")
for size in (5000, 20000, 60000):
    lim = TextLimit(["x" * size + str(i) for i in range(128)], None, C)
    a = time.perf_counter()
    lim.feed("word " * (size // 5))
    print(size, round(time.perf_counter() - a, 2), flush=True)
