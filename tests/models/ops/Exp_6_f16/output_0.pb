	
By0JTA·Dã:© ÈQ<H½P-–>