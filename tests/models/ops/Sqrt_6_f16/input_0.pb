	
BaJÞAH5h;u@X<Û8ÂB¨AY9