"""A way to a server that takes longer: each byte arrives a while after it was sent, however many follow it.

    python bench/latency.py PORT MILLISECONDS

Prints its own port, and ends with its standard input."""

import asyncio
import sys

CHUNK = 256 * 1024
# Chunks on the way; enough that only the latency counts.
WINDOW = 256


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    loop = asyncio.get_running_loop()
    under_way: asyncio.Queue = asyncio.Queue(WINDOW)

    async def deliver() -> None:
        while True:
            due, chunk = await under_way.get()
            await asyncio.sleep(max(0, due - loop.time()))
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    delivering = asyncio.create_task(deliver())
    try:
        while True:
            chunk = await reader.read(CHUNK)
            await under_way.put((loop.time() + delay, chunk))
            if not chunk:
                break
        await delivering
    except (ConnectionError, OSError):
        delivering.cancel()
        writer.close()


async def main(port: int, milliseconds: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection("127.0.0.1", port, limit=CHUNK)
        except OSError:
            writer.close()
            return
        # Half of the latency is on the way there.
        half = milliseconds / 2000
        await asyncio.gather(carry(reader, there[1], half), carry(there[0], writer, half))
        for end in (writer, there[1]):
            end.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=CHUNK)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
