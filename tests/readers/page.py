def text(): return ""
